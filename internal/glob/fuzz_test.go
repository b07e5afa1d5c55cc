package glob

import (
	"strings"
	"testing"
)

// FuzzGlob: whatever Expand takes, Match answers, for names that are not UTF-8, too; a glob without anything special matches itself alone.
func FuzzGlob(f *testing.F) {
	for _, c := range [][2]string{
		{"*.{bam,b{a,b}i}", "x.bai"}, {"[[:alpha:]]*", "x\xff"}, {"a\\*b", "a*b"}, {"\xff?", "\xffa"}, {"**/x", "a/b/x"}, {"{,{,{,}}}", ""}, {"[!a-c]", "d"}, {"[", "["},
	} {
		f.Add(c[0], c[1])
	}
	f.Fuzz(func(t *testing.T, glob, name string) {
		if len(glob) > 200 || len(name) > 200 {
			t.Skip()
		}
		globs, err := Expand(glob)
		if err != nil {
			return
		}
		if len(globs) == 0 || len(globs) > maxAlternatives {
			t.Fatalf("%q stands for %d globs", glob, len(globs))
		}
		for _, g := range globs {
			_ = Match(g, name)
		}
		if !strings.ContainsAny(glob, `*?[]{}\`) && (!Match(globs[0], glob) || name != glob && Match(globs[0], name)) {
			t.Fatalf("%q does not match itself, or matches %q", glob, name)
		}
	})
}
