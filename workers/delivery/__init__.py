"""What every consumer shares: sending inputs, parking, finding what kills, membership, retries, telemetry."""
