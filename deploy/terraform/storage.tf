data "aws_caller_identity" "here" {}

# Lake, artifacts and MLflow's files. A version of a model names versions of the lake for as long as it exists, so nothing
# expires here; `python -m ml maintain` deletes what no kept version needs.
resource "aws_s3_bucket" "this" {
  bucket = "${var.name}-${data.aws_caller_identity.here.account_id}"
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket                  = aws_s3_bucket.this.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    id     = "uploads that were cut off"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 2
    }
  }
}
