"""What a person can do, beside the session library: the command line is thin over it, and so is whatever comes next.

An operation is an async function. It takes an `App`, or what it needs of one, returns a model and raises the errors of
`agentbus.contracts.errors` or its own. It prints nothing.
"""
