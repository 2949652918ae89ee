"""The gateway: what platforms post becomes inputs, and they are told so once the broker has confirmed them."""
