package values

import (
	"fmt"
	"strconv"
	"strings"
)

// PermForms says how to write a Perm.
const PermForms = "octal or symbolic as for find -perm: 644 or u=rw,go=r (exactly), -4000 or -u+s (all of these bits), /022 or /go+w (any of these bits)"

// Perm is a condition on the mode of an entry, as find -perm has it.
type Perm struct {
	text string
	how  byte // '-': all bits, '/': one of the bits or more, 0: these bits and no others
	bits uint32
}

// ParsePerm reads a condition on a mode in one of the PermForms.
func ParsePerm(text string) (Perm, error) {
	p := Perm{text: text}
	mode := text
	if mode != "" && (mode[0] == '-' || mode[0] == '/') {
		p.how, mode = mode[0], mode[1:]
	}
	bits, err := strconv.ParseUint(mode, 8, 32)
	if err == nil && bits <= 0o7777 {
		p.bits = uint32(bits)
		return p, nil
	}
	var ok bool
	if p.bits, ok = symbolicMode(mode); !ok {
		return Perm{}, fmt.Errorf("%w: %q is not a condition on modes", ErrMalformed, text)
	}
	return p, nil
}

// UnmarshalText is ParsePerm for flags.
func (p *Perm) UnmarshalText(text []byte) (err error) {
	if *p, err = ParsePerm(string(text)); err != nil {
		err = fmt.Errorf("%w: write %s", err, PermForms)
	}
	return err
}

// symbolicMode is what chmod MODE makes of 0: u=rw,go=r is 0644.
func symbolicMode(text string) (mode uint32, ok bool) {
	for clause := range strings.SplitSeq(text, ",") {
		at := strings.IndexAny(clause, "+-=")
		if at < 0 {
			return 0, false
		}
		who, bits := clause[:at], uint32(0)
		if who == "" {
			who = "a"
		}
		for _, w := range who {
			scope, known := map[rune]uint32{'u': 0o4700, 'g': 0o2070, 'o': 0o1007, 'a': 0o7777}[w]
			if !known {
				return 0, false
			}
			for _, c := range clause[at+1:] {
				set, known := map[rune]uint32{'r': 0o444, 'w': 0o222, 'x': 0o111, 's': 0o6000, 't': 0o1000}[c]
				if !known {
					return 0, false
				}
				bits |= set & scope
			}
			if clause[at] == '=' {
				mode &^= scope & 0o777
			}
		}
		if clause[at] == '-' {
			mode &^= bits
		} else {
			mode |= bits
		}
	}
	return mode, true
}

// Match reports whether a mode, of which st_mode & 07777 counts, meets the condition.
func (p Perm) Match(mode uint32) bool {
	mode &= 0o7777
	switch p.how {
	case '-':
		return mode&p.bits == p.bits
	case '/':
		return p.bits == 0 || mode&p.bits != 0
	}
	return mode == p.bits
}

// String is the condition as it was written.
func (p Perm) String() string { return p.text }
