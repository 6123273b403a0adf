"""Sites of the mobile ion and the hops between them."""
