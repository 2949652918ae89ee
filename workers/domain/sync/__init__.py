"""What linked sessions share: fields by pointer, merging, conflicts."""
