"""The tables and every statement on them. Nothing else writes a state.

Two rules hold everywhere in this folder:

- **Lock, then look.** Whoever changes a disposition holds the lock of its call's row, and looks in a statement of its
  own after it: in READ COMMITTED each statement sees what was committed before it began.
- **Locks are taken in the order (lane, then call by account and UCID).** So nobody waits in a circle.
"""
