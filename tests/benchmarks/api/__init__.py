"""What the HTTP API costs: lists of 1,000, and publishing by it beside publishing by AMQP."""
