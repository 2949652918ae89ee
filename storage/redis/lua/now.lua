-- What time it is. KEYS: any, which says where.
return text(now())
