package tree

import "testing"

func TestAtimesOf(t *testing.T) {
	const mounts = `27 1 254:0 / / rw,relatime - ext4 /dev/root rw,discard
28 27 8:1 / /srv rw,noatime shared:3 - xfs /dev/sda1 rw
29 27 8:2 / /twice rw,noatime - xfs /dev/sdb1 rw
30 27 8:2 /below /elsewhere rw,nosuid,relatime - xfs /dev/sdb1 rw
31 27 8:3 / /strict rw,nosuid master:4 - xfs /dev/sdc1 rw
32 27 8:4 / /disc rw,relatime - squashfs /dev/loop0 ro
33 27 8:5 / /shown ro,relatime - xfs /dev/sdd1 rw
34 27 8:6 / /with\040blank rw,noatime,nodiratime - xfs /dev/sde1 rw
35 27 8:7 / /both rw,relatime - xfs /dev/sdf1 rw
36 27 8:7 / /again rw - xfs /dev/sdf1 rw
damaged
`
	for id, want := range map[string]Atimes{
		"27": RelAtime, "28": NoAtime, "29": RelAtime, "30": RelAtime, "31": StrictAtime, "32": NoAtime, "33": NoAtime, "34": NoAtime,
		"35": StrictAtime, "99": RelAtime,
	} {
		if got := atimesOf(mounts, id); got != want {
			t.Errorf("mount %s: %s, want %s", id, got, want)
		}
	}
	for a, kept := range map[Atimes]bool{StrictAtime: true, RelAtime: true, ServerAtime: true, NoAtime: false, NotAtime: false} {
		if a.Kept() != kept {
			t.Errorf("%s is kept: %v", a, a.Kept())
		}
	}
}
