"""What a shell starts in the background ignores Ctrl-C, and so would all that a test starts; here it is heard"""
import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
