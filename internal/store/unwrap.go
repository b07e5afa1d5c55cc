package store

// AsNotifier finds the Notifier in s or in what s wraps (through Unwrap() Store, as Counted has it).
func AsNotifier(s Store) (Notifier, bool) {
	for s != nil {
		if n, ok := s.(Notifier); ok {
			return n, true
		}
		wrapper, ok := s.(interface{ Unwrap() Store })
		if !ok {
			break
		}
		s = wrapper.Unwrap()
	}
	return nil, false
}
