// Package seal lets every small object prove itself: that it is the object that its key names, and that no bit of it has changed.
//
// A sealed object is a JSON object whose first member is the key that it was written for, and whose last is a checksum of all that
// comes before that member:
//
//	{"$object":"views/lab/lease.json","term":7,…,"$xxh64":"9a0b…"}
//
// Whoever writes such an object calls JSON, whoever reads one calls Open. What builds before this one wrote has neither member. It is
// read as it is, and sealed when it is next written. An object with one of the two members must have both, and both must be right; so
// damage to the members themselves is found too, and what people write by hand needs none.
package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// ErrBroken: the object is not what was written under its key.
var ErrBroken = errors.New("damaged, or edited by hand")

const (
	object   = `"$object"`
	checksum = `"$xxh64"`
	begin    = "{" + object + ":"
	end      = "," + checksum + `:"0123456789abcdef"}`
)

// JSON is v, which must be a JSON object with at least one member, as the object key is to have it.
func JSON(key string, v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return Seal(key, body)
}

// Seal is JSON of a value that is encoded already, indented or not.
func Seal(key string, body []byte) ([]byte, error) {
	inner, ok := bytes.CutPrefix(body, []byte("{"))
	inner, closed := bytes.CutSuffix(inner, []byte("}"))
	if !ok || !closed || len(bytes.TrimSpace(inner)) == 0 {
		return nil, fmt.Errorf("seal %s: not a JSON object with a member", key)
	}
	name, err := json.Marshal(key)
	if err != nil || bytes.IndexByte(name, ',') >= 0 {
		return nil, fmt.Errorf("seal %s: not the key of an object", key)
	}
	sealed := make([]byte, 0, len(body)+len(begin)+len(name)+len(end)+1)
	sealed = append(append(append(append(sealed, begin...), name...), ','), inner...)
	return fmt.Appendf(sealed, `,%s:"%016x"}`, checksum, xxhash.Sum64(sealed)), nil
}

// Open is the object without the members that seal it, after a look at both. Key is the one that it was read from. Of an object that is
// not sealed, it is the body as it is.
func Open(key string, body []byte) ([]byte, error) {
	plain, of, err := Look(body)
	switch {
	case err != nil:
		return nil, err
	case of != "" && of != key:
		return nil, fmt.Errorf("%w: it is the object %s", ErrBroken, of)
	}
	return plain, nil
}

// Look is Open of an object whose key the caller compares: of is empty for one that is not sealed.
func Look(body []byte) (plain []byte, of string, err error) {
	if !bytes.Contains(body, []byte(object)) && !bytes.Contains(body, []byte(checksum)) {
		return body, "", nil
	}
	at := len(body) - len(end)
	if at < len(begin) || !bytes.HasPrefix(body, []byte(begin)) || !bytes.HasPrefix(body[at:], []byte(","+checksum+`:"`)) || !bytes.HasSuffix(body, []byte(`"}`)) {
		return nil, "", fmt.Errorf("%w: one of its members %s and %s is missing or misplaced", ErrBroken, object, checksum)
	}
	wanted := body[len(body)-len(`0123456789abcdef"}`) : len(body)-len(`"}`)]
	if fmt.Sprintf("%016x", xxhash.Sum64(body[:at])) != string(wanted) {
		return nil, "", fmt.Errorf("%w: its checksum is wrong", ErrBroken)
	}
	name, rest, found := bytes.Cut(body[len(begin):at], []byte(","))
	if !found || json.Unmarshal(name, &of) != nil || of == "" {
		return nil, "", fmt.Errorf("%w: its member %s is no key", ErrBroken, object)
	}
	plain = make([]byte, 0, len(rest)+2)
	return append(append(append(plain, '{'), rest...), '}'), of, nil
}
