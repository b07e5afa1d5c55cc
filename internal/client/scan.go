package client

// The tokens of JSON, as far as decoder needs them.

func (d *decoder) space() {
	for d.i < len(d.b) && (d.b[d.i] == ' ' || d.b[d.i] == '\t' || d.b[d.i] == '\n' || d.b[d.i] == '\r') {
		d.i++
	}
}

// accept takes the byte c, after white space, if it comes next.
func (d *decoder) accept(c byte) bool {
	d.space()
	if d.i < len(d.b) && d.b[d.i] == c {
		d.i++
		return true
	}
	return false
}

// word takes a literal if it comes next.
func (d *decoder) word(w string) bool {
	d.space()
	if len(d.b)-d.i >= len(w) && string(d.b[d.i:d.i+len(w)]) == w {
		d.i += len(w)
		return true
	}
	return false
}

func (d *decoder) null() bool { return d.word("null") }

// object calls field for each key; field must take the value.
func (d *decoder) object(field func(key []byte) error) error {
	if !d.accept('{') {
		return errSyntax
	}
	if d.accept('}') {
		return nil
	}
	for {
		d.space()
		key, _, err := d.rawString()
		if err != nil {
			return err
		}
		if !d.accept(':') {
			return errSyntax
		}
		if err := field(key); err != nil {
			return err
		}
		if d.accept('}') {
			return nil
		}
		if !d.accept(',') {
			return errSyntax
		}
	}
}

// rawString takes a string and returns its inside, not unescaped; plain says that it needs no unescaping.
func (d *decoder) rawString() (raw []byte, plain bool, err error) {
	if !d.accept('"') {
		return nil, false, errSyntax
	}
	plain = true
	for start := d.i; d.i < len(d.b); d.i++ {
		switch c := d.b[d.i]; {
		case c == '"':
			d.i++
			return d.b[start : d.i-1], plain, nil
		case c == '\\':
			plain = false
			d.i++
		case c < ' ':
			return nil, false, errSyntax
		}
	}
	return nil, false, errSyntax
}

// number takes what looks like a number.
func (d *decoder) number() []byte {
	d.space()
	start := d.i
	for d.i < len(d.b) {
		switch c := d.b[d.i]; {
		case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
			d.i++
		default:
			return d.b[start:d.i]
		}
	}
	return d.b[start:]
}

// maxDepth bounds how deeply skipped values may nest.
const maxDepth = 1000

// skip takes any one value. Its tokens are checked, its grammar only as far as is needed to find its end.
func (d *decoder) skip() error {
	for depth := 0; ; {
		d.space()
		if d.i >= len(d.b) || depth > maxDepth {
			return errSyntax
		}
		switch c := d.b[d.i]; {
		case c == '{' || c == '[':
			depth++
			d.i++
		case c == '}' || c == ']':
			depth--
			d.i++
		case c == '"':
			if _, _, err := d.rawString(); err != nil {
				return err
			}
		case (c == ',' || c == ':') && depth > 0:
			d.i++
		case d.word("true"), d.word("false"), d.word("null"), len(d.number()) > 0:
		default:
			return errSyntax
		}
		if depth < 0 {
			return errSyntax
		}
		if depth == 0 {
			return nil
		}
	}
}
