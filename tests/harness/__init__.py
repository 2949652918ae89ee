"""What watches over the tests themselves."""
