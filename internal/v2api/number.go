package v2api

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// Time is a time in float seconds, as ns since 1970: what is written is taken digit by digit, so that nothing is lost
// beyond what the sender's float had lost.
type Time struct {
	Given bool
	Ns    int64
}

// UnmarshalJSON implements json.Unmarshaler. null is not given.
func (t *Time) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*t = Time{}
		return nil
	}
	ns, ok := nanoseconds(string(b))
	if !ok {
		return wrongType(b, reflect.TypeFor[float64]())
	}
	*t = Time{true, ns}
	return nil
}

// MarshalJSON implements json.Marshaler: the shortest decimal of the float, as Python's json writes it.
func (t Time) MarshalJSON() ([]byte, error) {
	if !t.Given {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, float64(t.Ns)/1e9, 'f', -1, 64), nil
}

// Seconds is the Time of ns as V2 has it: a float, which is exact to some 240 ns today.
func Seconds(ns int64) Time { return Time{true, ns} }

// nanoseconds reads a JSON number of seconds.
func nanoseconds(s string) (ns int64, ok bool) {
	if strings.ContainsAny(s, "eE") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || !(math.Abs(f) < math.MaxInt64/1e9) {
			return 0, false
		}
		return int64(math.Round(f * 1e9)), true
	}
	digits, negative := strings.CutPrefix(s, "-")
	whole, fraction, _ := strings.Cut(digits, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || seconds >= math.MaxInt64/1_000_000_000 {
		return 0, false
	}
	if len(fraction) > 9 {
		fraction = fraction[:9]
	}
	part := int64(0)
	if fraction != "" {
		if part, err = strconv.ParseInt(fraction+strings.Repeat("0", 9-len(fraction)), 10, 64); err != nil {
			return 0, false
		}
	}
	if ns = seconds*1e9 + part; negative {
		ns = -ns
	}
	return ns, true
}

// Integer is a whole number; a float without a fraction is one.
type Integer struct {
	Given bool
	Value int64
}

// UnmarshalJSON implements json.Unmarshaler. null is not given.
func (i *Integer) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*i = Integer{}
		return nil
	}
	v, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		f, err := strconv.ParseFloat(string(b), 64)
		if err != nil || b[0] == '"' || f != math.Trunc(f) || math.Abs(f) >= math.MaxInt64 {
			return wrongType(b, reflect.TypeFor[int64]())
		}
		v = int64(f)
	}
	*i = Integer{true, v}
	return nil
}

// MarshalJSON implements json.Marshaler.
func (i Integer) MarshalJSON() ([]byte, error) {
	if !i.Given {
		return []byte("null"), nil
	}
	return strconv.AppendInt(nil, i.Value, 10), nil
}

// Bool is true, false, or not given. V2's rows may have 0 and 1 for them.
type Bool struct{ Given, Value bool }

// UnmarshalJSON implements json.Unmarshaler. null is not given.
func (v *Bool) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "null":
		*v = Bool{}
	case "true", "1":
		*v = Bool{true, true}
	case "false", "0":
		*v = Bool{true, false}
	default:
		return wrongType(b, reflect.TypeFor[bool]())
	}
	return nil
}

// MarshalJSON implements json.Marshaler.
func (v Bool) MarshalJSON() ([]byte, error) {
	if !v.Given {
		return []byte("null"), nil
	}
	return strconv.AppendBool(nil, v.Value), nil
}

// Of is the Bool of a value that is given; Whole the Integer.
func Of(v bool) Bool                { return Bool{true, v} }
func Whole(v int64) Integer         { return Integer{true, v} }
func (e *FieldError) Error() string { return fmt.Sprintf("field %q %s", e.Field, e.Reason) }

// FieldError says which field of a body has a value that cannot be, by its place: events[3].rows[0].size.
type FieldError struct{ Field, Reason string }
