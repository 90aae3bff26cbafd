"""Block propagation and block races at the real network's size, compiled."""
