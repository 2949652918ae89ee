"""What a message takes and costs while there is little to do, message by message: ours and the plain consumer's."""
