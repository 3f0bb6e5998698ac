package domain

// Sealed is a secret as it may be kept in the log: encrypted and authenticated, useless without the keyset. It never
// appears in histories or read models.
type Sealed []byte

// Set says whether there is a secret.
func (s Sealed) Set() bool { return len(s) > 0 }
