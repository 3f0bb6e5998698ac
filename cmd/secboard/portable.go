package main

import (
	// Time zones, and certificate authorities to trust, for where the system has none: the image holds nothing but this
	// program. What the system has is used first.
	_ "time/tzdata"

	_ "golang.org/x/crypto/x509roots/fallback"
)
