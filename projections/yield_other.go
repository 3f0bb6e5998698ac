//go:build !linux

package projections

// yield does nothing where it is not known to help.
func yield() {}
