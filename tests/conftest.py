"""What holds for all tests."""

import signal

# Who runs the tests in a shell's background has Ctrl-C ignored, and so would every process that
# a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
