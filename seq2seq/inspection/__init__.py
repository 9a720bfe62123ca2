"""What is wrong with a corpus, or may be: checks of pairs, figures of them, and settings that suit them.

Contract: nothing is changed. A check is a small function with a name, a level and a message, registered in
``contract``; clean data give no finding. The checks stand by kind in ``characters``, ``pairs``, ``languages`` and
``alignment``.
"""
