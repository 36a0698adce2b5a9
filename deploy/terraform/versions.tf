# What a team needs of a cloud to run Perennial: a network, PostgreSQL, Redis, a bucket, a Kubernetes cluster, and a role by which
# the pods reach the bucket without a key. AWS stands here; another cloud has the same seven things.

terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.60"
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = { "app" = var.name }
  }
}
