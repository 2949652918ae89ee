"""Every close ends in its time and leaves nothing: cancelled at any await, and while store or broker do not answer."""
