package open_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/open"
)

// alone keeps the developer's credentials and settings out.
func alone(t *testing.T) {
	t.Helper()
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN", "AWS_REGION",
		"AWS_DEFAULT_REGION", "AWS_PROFILE", "MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD", "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY", "MC_CONFIG_DIR"} {
		t.Setenv(name, "")
	}
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(home, ".aws", "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(home, ".aws", "credentials"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

func TestWrongURLs(t *testing.T) {
	alone(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	for _, test := range []struct{ url, want string }{
		{"", "no scheme"},
		{"/var/lib/fustor", "no scheme"},
		{"bucket", "no scheme"},
		{"gs://bucket", `unknown scheme "gs"`},
		{"http://host/bucket", "unknown scheme"},
		{"://", "cannot be parsed"},
		{"s3://bucket/%zz", "cannot be parsed"},
		{"file:relative", "must be absolute"},
		{"file://dir/x", "would be a host"},
		{"file://", "must be absolute"},
		{"file:///dir?x=1", `unknown parameter "x"`},
		{"s3://", "no bucket"},
		{"s3:///prefix", "no bucket"},
		{"s3://Bad_Bucket", "no bucket name"},
		{"s3://AKIAKEY:hunter2@bucket/x", "credentials do not belong"},
		{"s3://bucket?regoin=x", `unknown parameter "regoin"`},
		{"s3://bucket?region=a&region=b", "one value"},
		{"s3://bucket?region=", "one value"},
		{"s3://bucket?endpoint=host:9000", "endpoint must be"},
		{"s3://bucket?endpoint=http://u:hunter2@host", "endpoint must be"},
		{"s3://bucket?path_style=perhaps", "true or false"},
		{"s3://bucket/a//b?region=x", "prefix"},
		{"s3://bucket/a/../b?region=x", "prefix"},
		{"s3://bucket/a#b?region=x", "%23"},
		{"s3://bucket", "no region"},
		{"s3://bucket?region=x&secret=hunter2", `unknown parameter "secret"`},
		{"minio://", "no host"},
		{"minio://host:9000", "no bucket"},
		{"minio://host:9000/", "no bucket"},
		{"minio://host:9000/bucket?tls=no!", "true or false"},
		{"minio://user:hunter2@host:9000/bucket", "credentials do not belong"},
	} {
		s, err := open.Open(t.Context(), test.url)
		if err == nil {
			t.Errorf("%s was opened as %s", test.url, s)
			continue
		}
		if text := err.Error(); !strings.Contains(text, test.want) || strings.Contains(text, "hunter2") || strings.Contains(text, "\n") {
			t.Errorf("%s: %q, want %q in it", test.url, text, test.want)
		}
		if test.want != "no region" && (!errors.Is(err, open.ErrURL) || !strings.Contains(err.Error(), "; want ")) {
			t.Errorf("%s: %q does not say what is right", test.url, err)
		}
	}
}

func TestRightURLs(t *testing.T) {
	alone(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
	dir := t.TempDir()
	for given, want := range map[string]string{
		"file://" + dir + "/new":                                           "file://" + dir + "/new",
		"file://localhost" + dir:                                           "file://" + dir,
		"s3://bucket?region=eu-west-1":                                     "s3://bucket?region=eu-west-1",
		"s3://bucket/a/b/?region=eu-west-1":                                "s3://bucket/a/b/?region=eu-west-1",
		"s3://bucket/a?endpoint=http%3A%2F%2Fhost%3A9000&path_style=false": "s3://bucket/a?endpoint=http://host:9000&path_style=false",
		"s3://bucket/a?endpoint=http://host:9000":                          "s3://bucket/a?endpoint=http://host:9000",
		"minio://host:9000/bucket":                                         "minio://host:9000/bucket",
		"minio://host:9000/bucket/a/b?tls=false":                           "minio://host:9000/bucket/a/b?tls=false",
	} {
		s, err := open.Open(t.Context(), given)
		if err != nil {
			t.Errorf("%s: %v", given, err)
			continue
		}
		if s.String() != want {
			t.Errorf("%s calls itself %s, want %s", given, s, want)
		}
	}
}

func TestMissingCredentials(t *testing.T) {
	alone(t)
	for _, url := range []string{"s3://bucket?region=x", "minio://host:9000/bucket"} {
		if _, err := open.Open(t.Context(), url); !errors.Is(err, store.ErrDenied) || !strings.Contains(err.Error(), "credentials") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestCredentialsFromFiles(t *testing.T) {
	for name, file := range map[string]struct{ path, text string }{
		"aws": {".aws/credentials", "[default]\naws_access_key_id = key\naws_secret_access_key = secret\n"},
		"mc":  {".mc/config.json", `{"version":"10","aliases":{"mine":{"url":"http://host:9000","accessKey":"key","secretKey":"secret","api":"s3v4"}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			alone(t)
			path := filepath.Join(os.Getenv("HOME"), file.path)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(file.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := open.Open(t.Context(), "minio://host:9000/bucket"); err != nil {
				t.Error(err)
			}
			_, err := open.Open(t.Context(), "s3://bucket?region=x")
			if (err == nil) != (name == "aws") {
				t.Errorf("s3: %v", err)
			}
			_, err = open.Open(t.Context(), "minio://other:9000/bucket")
			if (err == nil) != (name == "aws") {
				t.Errorf("another host: %v", err)
			}
		})
	}
}
