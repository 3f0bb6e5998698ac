package domain

// Lifecycle is whether an aggregate exists and is in use. The state of an aggregate that can be retired embeds it.
type Lifecycle struct {
	Exists  bool
	Retired bool
}

// CheckUsable refuses what is not there and what is out of use. kind and name are for people: "mail server", "Office".
func (l Lifecycle) CheckUsable(kind, name string) error {
	if !l.Exists {
		return noSuch(kind)
	}
	if l.Retired {
		return Refusef(CodeRetired, "the %s %s is retired and can't be changed", kind, name)
	}
	return nil
}

func noSuch(kind string) error { return Refusef(CodeNotFound, "there is no such %s", kind) }

// Create starts an aggregate with details, as the events that created gives; one that exists already stays as it is.
func Create[D interface {
	Normalized() D
	Validate() error
}](l Lifecycle, details D, created func(D) []Event) ([]Event, error) {
	details = details.Normalized()
	if err := details.Validate(); err != nil {
		return nil, err
	}
	if l.Exists {
		return nil, nil
	}
	return created(details), nil
}

// Retire takes an aggregate out of use, as the event that retired gives; doing it again changes nothing.
func Retire(l Lifecycle, kind, reason string, retired func(reason string) Event) ([]Event, error) {
	reason, err := Reason(reason, false)
	if err != nil {
		return nil, err
	}
	if !l.Exists {
		return nil, noSuch(kind)
	}
	if l.Retired {
		return nil, nil
	}
	return []Event{retired(reason)}, nil
}
