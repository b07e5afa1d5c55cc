//go:build !reading

package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/store/doctor"
)

func TestPrintReport(t *testing.T) {
	var b bytes.Buffer
	out := show.NewOutput(&b, false, false)
	report := doctor.Report{Store: "s3://b", Duration: 1500 * time.Microsecond, Rules: []doctor.Rule{
		{Name: "create once", Required: true, OK: true},
		{Name: "replace", Required: true, Detail: "2 of 500 lost", Hint: "use another"},
		{Name: "announce", Detail: "none"},
	}}
	for i, r := range report.Rules {
		printRule(out, r)
		if out.Buffered() > 0 {
			t.Errorf("rule %d is not shown at once", i)
		}
	}
	printVerdict(out, report)
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	want := `ok    create once
FAIL  replace                                             2 of 500 lost
      hint: use another
no    announce                                            none
s3://b is UNFIT: fustor does not write to this store (2ms)
`
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
}
