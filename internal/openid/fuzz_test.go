package openid_test

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/openid"
	"github.com/fustor/fustor/testkit/issuer"
)

// FuzzToken: a token that the issuer did not sign is never accepted, and one that it signed is, whatever else it claims, only for a name, one
// uid and gids that it has. What is not accepted is the sender's fault, never the server's.
func FuzzToken(f *testing.F) {
	i := issuer.New(f)
	p, err := openid.New(openid.Options{Issuer: i.URL(), Audience: audience, UIDClaim: "uid", GIDsClaim: "gids"})
	if err != nil {
		f.Fatal(err)
	}
	p.Find(f.Context())
	f.Add("", `{"preferred_username":"alice","uid":1000,"gids":[1000,"27"]}`)
	f.Add("a.b.c", `{"preferred_username":["alice"],"uid":"1e3","gids":-1}`)
	f.Add("eyJhbGciOiJub25lIn0.eyJhdWQiOiJmdXN0b3IifQ.", `{"uid":4294967296,"gids":[[1]],"exp":1,"nbf":9e99,"aud":[]}`)
	f.Fuzz(func(t *testing.T, forged, claimed string) {
		if len(forged)+len(claimed) > 1<<14 {
			t.Skip()
		}
		refused := func(err error) {
			var e *httpapi.Error
			if !errors.As(err, &e) || e.Status != http.StatusUnauthorized {
				t.Errorf("%q, %q: %v", forged, claimed, err)
			}
		}
		_, err := p.Verify(t.Context(), forged)
		refused(err)

		var changed map[string]any
		if json.Unmarshal([]byte(claimed), &changed) != nil {
			return
		}
		claims := i.Claims(audience, "")
		maps.Copy(claims, changed)
		who, err := p.Verify(t.Context(), i.Sign(map[string]any{"alg": "RS256", "typ": "JWT"}, claims))
		if err != nil {
			refused(err)
			return
		}
		expiry, _ := claims["exp"].(float64)
		if name, _ := claims["preferred_username"].(string); who.Name != name || name == "" || who.Identity == nil || claims["iss"] != i.URL() ||
			changed["exp"] != nil && int64(expiry) < time.Now().Add(-openid.Leeway-time.Minute).Unix() {
			t.Errorf("%q is accepted as %+v", claimed, who)
		}
	})
}
