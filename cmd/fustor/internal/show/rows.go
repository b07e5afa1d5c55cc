package show

import (
	"encoding/base64"
	"encoding/csv"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Form is how rows are printed.
type Form int

const (
	Text   Form = iota // a table for eyes, or plain lines: the command prints them itself
	JSON               // one array
	NDJSON             // an object a line
	CSV                // RFC 4180, but lines end with LF, so that a name with a newline keeps its bytes
)

// Rows prints the rows of an answer in a form. Nothing is printed before the first row or End.
type Rows struct {
	*Output
	Form    Form
	Columns []string // the header of CSV
	Resumed bool     // the header is printed already
	csv     *csv.Writer
	any     bool
}

// Object prints a row as a JSON object, as JSON or NDJSON.
func (r *Rows) Object(object []byte) error {
	switch {
	case r.Form == NDJSON:
	case !r.any:
		r.WriteByte('[')
	default:
		r.WriteString(",\n")
	}
	r.any = true
	_, err := r.Write(object)
	if r.Form == NDJSON {
		err = r.WriteByte('\n')
	}
	return err
}

// Record prints a row of CSV, a field for each column: a string, a number, a bool or a UTC.
func (r *Rows) Record(fields ...any) error {
	if len(fields) != len(r.Columns) {
		return fmt.Errorf("a row of %d fields for %d columns", len(fields), len(r.Columns))
	}
	r.header()
	record := make([]string, len(fields))
	for i, f := range fields {
		switch v := f.(type) {
		case string:
			record[i] = Cell(v)
		case UTC:
			record[i] = v.String()
		default: // numbers, and words of our own
			record[i] = fmt.Sprint(v)
		}
	}
	return r.csv.Write(record)
}

func (r *Rows) header() {
	if r.csv == nil {
		r.csv = csv.NewWriter(r.Writer)
		if !r.Resumed {
			_ = r.csv.Write(r.Columns) // Flush has its error
		}
	}
}

// Sync writes out what was printed so far.
func (r *Rows) Sync() error {
	if r.csv != nil {
		r.csv.Flush()
	}
	return r.Flush()
}

// End ends an answer that came to an end with err, and flushes it. An array that is not whole is not closed.
func (r *Rows) End(err error) error {
	if err == nil {
		switch {
		case r.Form == CSV:
			r.header()
		case r.Form == JSON && !r.any:
			r.WriteString("[]\n")
		case r.Form == JSON:
			r.WriteString("]\n")
		}
	}
	return errors.Join(err, r.Sync())
}

// formulas are the characters that make a spreadsheet take what follows for a formula, those of full width included.
const formulas = "=+-@\t\r\n＝＋－＠"

// Cell is a text as a field of CSV, for the eyes of a spreadsheet: valid UTF-8, and with an apostrophe before what would be taken for a
// formula. A text that begins with an apostrophe gets another one. So whoever drops one leading apostrophe has the text again.
func Cell(text string) string {
	text = strings.ToValidUTF8(text, "\ufffd")
	if first, _ := utf8.DecodeRuneInString(text); text != "" && (first == '\'' || strings.ContainsRune(formulas, first)) {
		return "'" + text
	}
	return text
}

// B64 is base64url of a name that is not UTF-8, as the API has it; empty if the name is.
func B64(name string) string {
	if utf8.ValidString(name) {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString([]byte(name))
}

// UTC is a time in ns since 1970 that is printed as RFC 3339 in UTC; nil is none.
type UTC struct{ Ns *int64 }

func (t UTC) String() string {
	if t.Ns == nil {
		return ""
	}
	return time.Unix(0, *t.Ns).UTC().Format(time.RFC3339Nano)
}
