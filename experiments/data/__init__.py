"""What is known of data sets without reading their images."""
