package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/fustor/fustor/internal/store/wire"
)

// abortWithin bounds the request that takes back an upload that failed.
const abortWithin = 10 * time.Second

// Upload implements wire.Client: a multipart upload, part by part. What is no longer than one part is a single PUT.
func (c *client) Upload(ctx context.Context, key string, body io.Reader) error {
	part, ended, err := readPart(body, nil, 0)
	if err != nil {
		return err
	}
	if ended {
		_, err := c.Put(ctx, key, part, wire.Condition{})
		return err
	}
	upload, err := c.sdk.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: &c.bucket, Key: &key})
	if err != nil {
		return failure(err)
	}
	if err := c.uploadParts(ctx, key, upload.UploadId, body, part); err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortWithin)
		defer cancel()
		_, failed := c.sdk.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{Bucket: &c.bucket, Key: &key, UploadId: upload.UploadId})
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("its parts are left to the bucket's rule for incomplete uploads: %w", failed))
		}
		return err
	}
	return nil
}

// uploadParts sends the parts of an upload, of which the first is there already, and completes it.
func (c *client) uploadParts(ctx context.Context, key string, id *string, body io.Reader, part []byte) error {
	var parts []types.CompletedPart
	for n, ended := 0, false; len(part) > 0; n++ {
		if n == wire.MaxParts {
			return errors.New("the object is too large for one upload")
		}
		number := aws.Int32(int32(n + 1))
		out, err := c.sdk.UploadPart(ctx, &awss3.UploadPartInput{Bucket: &c.bucket, Key: &key, UploadId: id, PartNumber: number,
			Body: bytes.NewReader(part), ContentLength: aws.Int64(int64(len(part)))})
		if err != nil {
			return failure(err)
		}
		parts = append(parts, types.CompletedPart{ETag: out.ETag, PartNumber: number})
		if ended {
			break
		}
		if part, ended, err = readPart(body, part, n+1); err != nil {
			return err
		}
	}
	_, err := c.sdk.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{Bucket: &c.bucket, Key: &key, UploadId: id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
	return failure(err)
}

// readPart reads part n of a body into a buffer; ended says that nothing follows.
func readPart(body io.Reader, buffer []byte, n int) (part []byte, ended bool, err error) {
	size := wire.PartSize(n)
	if cap(buffer) < size {
		buffer = make([]byte, size)
	}
	read, err := io.ReadFull(body, buffer[:size])
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return buffer[:read], true, nil
	}
	return buffer[:read], false, err
}
