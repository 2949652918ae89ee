"""`python -m agentbus`: the command line."""

from agentbus.cli import main

if __name__ == "__main__":
    main()
