package mounts

import (
	"reflect"
	"testing"
)

func TestOfSource(t *testing.T) {
	for uri, want := range map[string]Mount{
		"fs://nfs07/mnt/data":     {"v", "/mnt/data", "nfs07"},
		"fs://nfs07/":             {"v", "/", "nfs07"},
		"fs://nfs07/mnt/data/":    {"v", "/mnt/data", "nfs07"},
		"fs://nfs07/a%25b%FF/ü c": {"v", "/a%b\xff/ü c", "nfs07"},
		"fs://nfs07/a%zz":         {"v", "/a%zz", "nfs07"}, // not as an agent writes it
		"fs:///mnt/data":          {"v", "/mnt/data", ""},
		"/mnt/data":               {"v", "/mnt/data", ""}, // as agents of Fustor V2 have it
		"":                        {}, "fs://nfs07": {}, "s3://bucket/data": {}, "lab": {},
	} {
		got, ok := OfSource("v", uri)
		if got != want || ok != (want.Path != "") {
			t.Errorf("%q: %+v, %v; want %+v", uri, got, ok, want)
		}
	}
}

func TestExplicit(t *testing.T) {
	for arg, want := range map[string]Place{
		"nfs03:/data": {"nfs03", "/data"}, "nfs03:/": {"nfs03", "/"}, "nfs03://a/../b/": {"nfs03", "/b"}, "a:/b:/c": {"a", "/b:/c"},
		"nfs03:data": {}, "nfs03:": {}, "./nfs03:/data": {}, "/nfs03:/data": {}, "x/nfs03:/data": {}, "NFS:/data": {}, ":/data": {}, "data": {}, "": {},
	} {
		got, ok := Explicit(arg)
		if got != want || ok != (want.View != "") {
			t.Errorf("%q: %+v, %v; want %+v", arg, got, ok, want)
		}
	}
}

// The hosts nfs07 and nfs08 have agents; login1 has none, but the settings of the view name its mounts.
var lab = []Mount{{"lab", "/srv/lab", "nfs07"}, {"lab", "/export", "nfs08"}, {"lab", "/mnt/lab", ""}}

func TestTranslate(t *testing.T) {
	for name, c := range map[string]struct {
		mounts []Mount
		host   string
		path   string
		want   []Place
	}{
		"below the mount of the own host":        {lab, "nfs07", "/srv/lab/x/y", []Place{{"lab", "/x/y"}}},
		"the mount itself":                       {lab, "nfs07", "/srv/lab", []Place{{"lab", "/"}}},
		"with a slash at the end":                {lab, "nfs07", "/srv/lab/", []Place{{"lab", "/"}}},
		"of another host":                        {lab, "login1", "/export/x/", []Place{{"lab", "/x"}}},
		"by the settings":                        {lab, "login1", "/mnt/lab/x", []Place{{"lab", "/x"}}},
		"beside the mount":                       {lab, "nfs07", "/srv/laboratory", nil},
		"above the mount":                        {lab, "nfs07", "/srv", nil},
		"dots that stay below":                   {lab, "nfs07", "/srv/lab/x/../y", []Place{{"lab", "/y"}}},
		"dots that lead out":                     {lab, "nfs07", "/srv/lab/../other", nil},
		"nested mounts: the longest":             {[]Mount{{"v", "/srv", "b"}, {"v", "/srv/lab", "c"}}, "a", "/srv/lab/x", []Place{{"v", "/x"}}},
		"nested mounts: that of the own host":    {[]Mount{{"v", "/srv", "a"}, {"v", "/srv/lab", "c"}}, "A", "/srv/lab/x", []Place{{"v", "/lab/x"}}},
		"two mounts of one host, nested":         {[]Mount{{"v", "/srv", "a"}, {"v", "/srv/bind/lab", "a"}}, "a", "/srv/bind/lab/x", []Place{{"v", "/x"}}},
		"a bind mount by the settings":           {[]Mount{{"v", "/srv/lab", "a"}, {"v", "/home/me/lab", ""}}, "a", "/home/me/lab/x", []Place{{"v", "/x"}}},
		"root / on its host":                     {[]Mount{{"v", "/", "a"}}, "a", "/srv/x", []Place{{"v", "/srv/x"}}},
		"root / on its host, the root":           {[]Mount{{"v", "/", "a"}}, "a", "/", []Place{{"v", "/"}}},
		"root / of another host":                 {[]Mount{{"v", "/", "a"}}, "b", "/srv/x", nil},
		"the same mount on many hosts":           {[]Mount{{"v", "/data", "a"}, {"v", "/data", "b"}}, "c", "/data/x", []Place{{"v", "/x"}}},
		"members: the one that is mounted there": {[]Mount{{"m1", "/mnt/m1", "a"}, {"m2", "/mnt/m2", "a"}}, "c", "/mnt/m2/x", []Place{{"m2", "/x"}}},
		"members: the one of the own host":       {[]Mount{{"m1", "/data", "a"}, {"m2", "/data", "b"}}, "b", "/data/x", []Place{{"m2", "/x"}}},
		"members: not to be told apart":          {[]Mount{{"m1", "/data", "a"}, {"m2", "/data", "b"}}, "c", "/data/x", []Place{{"m1", "/x"}, {"m2", "/x"}}},
		"nothing is known":                       {nil, "a", "/srv/lab", nil},
	} {
		if got := (Table{c.mounts, c.host}).Translate(c.path); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %s is %v, want %v", name, c.path, got, c.want)
		}
	}
}

func TestRelative(t *testing.T) {
	type dirs = []string
	for name, c := range map[string]struct {
		dirs   dirs
		arg    string
		abs    string
		want   []Place
		inside bool
	}{
		"the directory":                    {dirs{"/srv/lab/x"}, ".", "/srv/lab/x", []Place{{"lab", "/x"}}, true},
		"below it":                         {dirs{"/srv/lab/x"}, "y/", "/srv/lab/x/y", []Place{{"lab", "/x/y"}}, true},
		"beside it":                        {dirs{"/srv/lab/x"}, "../y", "/srv/lab/y", []Place{{"lab", "/y"}}, true},
		"the root":                         {dirs{"/srv/lab"}, ".", "/srv/lab", []Place{{"lab", "/"}}, true},
		"out of the mount":                 {dirs{"/srv/lab/x"}, "../../other", "/srv/other", nil, true},
		"out of it and into another":       {dirs{"/srv/lab/x"}, "../../../mnt/lab/z", "/mnt/lab/z", []Place{{"lab", "/z"}}, true},
		"elsewhere":                        {dirs{"/home/me"}, "x", "", nil, false},
		"a symlink into the mount":         {dirs{"/srv/lab/x", "/home/me/lab"}, "y", "/srv/lab/x/y", []Place{{"lab", "/x/y"}}, true},
		"a symlink within the mount":       {dirs{"/srv/lab/real", "/srv/lab/link"}, ".", "/srv/lab/real", []Place{{"lab", "/real"}}, true},
		"the mount is known by a symlink":  {dirs{"/vol/7/x", "/mnt/lab/x"}, "y", "/mnt/lab/x/y", []Place{{"lab", "/x/y"}}, true},
		"a name that looks like a view's":  {dirs{"/srv/lab"}, "./lab:/x", "/srv/lab/lab:/x", []Place{{"lab", "/lab:/x"}}, true},
		"the working directory is unknown": {nil, "x", "", nil, false},
	} {
		abs, places, inside := (Table{lab, "nfs07"}).Relative(c.dirs, c.arg)
		if abs != c.abs || !reflect.DeepEqual(places, c.want) || inside != c.inside {
			t.Errorf("%s: %q %v %v, want %q %v %v", name, abs, places, inside, c.abs, c.want, c.inside)
		}
	}
}

func TestWhere(t *testing.T) {
	many := []Mount{{"v", "/a", "h1"}, {"v", "/a", "h2"}, {"v", "/a", "h3"}, {"v", "/a", "h4"}, {"v", "/a", "h5"}}
	for want, mounts := range map[string][]Mount{
		"": nil, "/export (nfs08), /mnt/lab and /srv/lab (nfs07)": lab, "/a (h1, h2, h3, h4, …)": many,
		"/a (h1), /b, /c, /d and other paths": {{"v", "/a", "h1"}, {"v", "/f", ""}, {"v", "/b", ""}, {"v", "/c", ""}, {"v", "/d", ""}, {"v", "/e", ""}},
	} {
		if got := (Table{Mounts: mounts}).Where(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
