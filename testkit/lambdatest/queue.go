package lambdatest

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Message is one message of an SQS queue.
type Message struct{ ID, Body string }

// SQSEvent is the event of a batch of messages (https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html).
func SQSEvent(batch []Message) ([]byte, error) {
	records := make([]map[string]any, len(batch))
	for i, m := range batch {
		sum := md5.Sum([]byte(m.Body))
		sent := fmt.Sprint(time.Now().UnixMilli())
		records[i] = map[string]any{
			"messageId": m.ID, "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...", "body": m.Body,
			"attributes": map[string]string{"ApproximateReceiveCount": "1", "SentTimestamp": sent, "SenderId": "AIDAIENQZJOLO23YVJ4VO",
				"ApproximateFirstReceiveTimestamp": sent},
			"messageAttributes": map[string]any{}, "md5OfBody": hex.EncodeToString(sum[:]), "eventSource": "aws:sqs",
			"eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:fustor-segments", "awsRegion": "us-east-1",
		}
	}
	return json.Marshal(map[string]any{"Records": records})
}

// ScheduledEvent is a tick of a rule (https://docs.aws.amazon.com/lambda/latest/dg/with-eventbridge-scheduler.html).
func ScheduledEvent() []byte {
	return fmt.Appendf(nil, `{"version":"0","id":"53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa","detail-type":"Scheduled Event","source":"aws.events",`+
		`"account":"123456789012","time":%q,"region":"us-east-1","resources":["arn:aws:events:us-east-1:123456789012:rule/fustor-tick"],"detail":{}}`,
		time.Now().UTC().Format("2006-01-02T15:04:05Z"))
}

// S3Created is what S3 sends of a new object (https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html).
func S3Created(bucket, key string) string {
	return fmt.Sprintf(`{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"us-east-1","eventTime":"1970-01-01T00:00:00.000Z",`+
		`"eventName":"ObjectCreated:Put","userIdentity":{"principalId":"AIDAJDPLRKLG7UEXAMPLE"},"requestParameters":{"sourceIPAddress":"127.0.0.1"},`+
		`"responseElements":{"x-amz-request-id":"C3D13FE58DE4C810","x-amz-id-2":"FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG4V5Wp6S7S/JRWeUWerMUE5JgHvANOjpD"},`+
		`"s3":{"s3SchemaVersion":"1.0","configurationId":"testConfigRule","bucket":{"name":%q,"ownerIdentity":{"principalId":"A3NL1KOZZKExample"},`+
		`"arn":%q},"object":{"key":%q,"size":1024,"eTag":"d41d8cd98f00b204e9800998ecf8427e","sequencer":"0055AED6DCD90281E5"}}}]}`,
		bucket, "arn:aws:s3:::"+bucket, escapedKey(key))
}

// escapedKey is a key as S3 writes it in events: URL-encoded, with slashes as they are.
func escapedKey(key string) string { return strings.ReplaceAll(url.QueryEscape(key), "%2F", "/") }

// S3Test is what S3 sends when notifications are set up.
func S3Test(bucket string) string {
	return fmt.Sprintf(`{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2014-10-13T15:57:02.089Z","Bucket":%q,`+
		`"RequestId":"5582815E1AEA5ADF","HostId":"8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE"}`, bucket)
}
