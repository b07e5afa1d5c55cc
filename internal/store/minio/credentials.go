package minio

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/fustor/fustor/internal/store"
)

// findCredentials takes the first of: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; MINIO_ACCESS_KEY and
// MINIO_SECRET_KEY or MINIO_ROOT_USER and MINIO_ROOT_PASSWORD; the alias of this host in mc's configuration; the
// profile (AWS_PROFILE) of ~/.aws/credentials.
func findCredentials(host string) (*credentials.Credentials, error) {
	found := credentials.NewChainCredentials([]credentials.Provider{
		&credentials.EnvAWS{}, &credentials.EnvMinio{}, &credentials.Static{Value: aliasOf(host)}, &credentials.FileAWSCredentials{},
	})
	value, err := found.GetWithContext(&credentials.CredContext{})
	if err != nil || value.AccessKeyID == "" || value.SecretAccessKey == "" {
		return nil, fmt.Errorf("%w: no credentials for %s: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or MINIO_ACCESS_KEY "+
			"and MINIO_SECRET_KEY, or add the host to ~/.aws/credentials or ~/.mc/config.json", store.ErrDenied, host)
	}
	return found, nil
}

// aliasOf looks host up in the configuration that `mc alias set` writes; it is empty if there is none.
func aliasOf(host string) credentials.Value {
	dir := os.Getenv("MC_CONFIG_DIR")
	if home, err := os.UserHomeDir(); dir == "" && err == nil {
		dir = filepath.Join(home, ".mc")
	}
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		return credentials.Value{}
	}
	var config struct {
		Aliases map[string]struct {
			URL, AccessKey, SecretKey, SessionToken string
		}
	}
	if json.Unmarshal(text, &config) != nil {
		return credentials.Value{}
	}
	for _, alias := range config.Aliases {
		if u, err := url.Parse(alias.URL); err == nil && strings.EqualFold(u.Host, host) {
			return credentials.Value{
				AccessKeyID: alias.AccessKey, SecretAccessKey: alias.SecretKey, SessionToken: alias.SessionToken,
				SignerType: credentials.SignatureV4,
			}
		}
	}
	return credentials.Value{}
}
