"""What a log says of how sessions are used: pure functions from commits to figures, and from figures to findings."""
