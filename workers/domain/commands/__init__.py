"""What commands cause."""
