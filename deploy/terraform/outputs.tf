output "cluster" {
  description = "Name of the cluster, for `aws eks update-kubeconfig --name`."
  value       = aws_eks_cluster.this.name
}

output "deployment" {
  description = "What stands for the servers in the deployment file; databases.sh makes the databases and their roles."
  value = {
    artifacts  = "s3://${aws_s3_bucket.this.id}/artifacts"
    lake_uri   = "s3://${aws_s3_bucket.this.id}/lake"
    ledger_uri = "postgresql+psycopg://ledger:$${LEDGER_DB_PASSWORD}@${aws_db_instance.this.endpoint}/ledger"
    feast_uri  = "postgresql+psycopg://feast:$${FEAST_DB_PASSWORD}@${aws_db_instance.this.endpoint}/feast"
    online_uri = "rediss://:$${REDIS_PASSWORD}@${aws_elasticache_replication_group.this.primary_endpoint_address}:6379/0"
  }
}

output "database_secret" {
  description = "Secret of AWS that holds the password of the role `postgres`."
  value       = aws_db_instance.this.master_user_secret[0].secret_arn
}
