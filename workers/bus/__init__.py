"""The bus: a port, RabbitMQ, and one inside the process."""
