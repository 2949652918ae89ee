"""What tests are made with, and what watches over them."""
