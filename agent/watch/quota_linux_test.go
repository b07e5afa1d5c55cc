package watch

import "testing"

func TestShare(t *testing.T) {
	for _, c := range []struct {
		total  int
		others []int
		want   int
	}{
		{90, nil, 90}, {90, []int{-1}, 45}, {90, []int{10}, 80}, {90, []int{10, 1000}, 40}, {90, []int{60, 60}, 30}, {0, []int{5}, 1},
	} {
		if got := fairShare(c.total, c.others); got != c.want {
			t.Errorf("%d beside %v: %d, want %d", c.total, c.others, got, c.want)
		}
	}
}
