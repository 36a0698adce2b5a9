locals {
  assumed_by = {
    for service in ["eks.amazonaws.com", "ec2.amazonaws.com", "pods.eks.amazonaws.com"] : service => {
      Effect    = "Allow"
      Principal = { Service = service }
      Action    = service == "pods.eks.amazonaws.com" ? ["sts:AssumeRole", "sts:TagSession"] : ["sts:AssumeRole"]
    }
  }
}

# The pods' own role: this bucket, and nothing else. No key is stored anywhere.
resource "aws_iam_role" "pods" {
  name_prefix        = "${var.name}-pods-"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [local.assumed_by["pods.eks.amazonaws.com"]] })
}

resource "aws_iam_role_policy" "bucket" {
  role = aws_iam_role.pods.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Effect = "Allow", Action = ["s3:ListBucket"], Resource = aws_s3_bucket.this.arn },
      {
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
        Resource = "${aws_s3_bucket.this.arn}/*"
      },
    ]
  })
}

resource "aws_eks_pod_identity_association" "pods" {
  cluster_name    = aws_eks_cluster.this.name
  namespace       = var.namespace
  service_account = var.service_account
  role_arn        = aws_iam_role.pods.arn
}
