"""Who is who: identities, the claim codes that prove a link, and links that are suggested."""
