#!/bin/sh
# install.sh DIR: puts the SQL engines that TestEngines starts into DIR. It needs Python 3, Maven, Java 17 or 21 for Spark, and Java 24 or
# later for Trino; 3 GB. What is there already is left as it is.
set -eu
dir=$1
mkdir -p "$dir"
if [ ! -e "$dir/venv/complete" ]; then
	python3 -m venv "$dir/venv"
	"$dir/venv/bin/pip" install -q duckdb==1.5.5 duckdb-extension-iceberg==1.5.5 duckdb-extension-avro==1.5.5 duckdb-extension-httpfs==1.5.5 \
		pyiceberg==0.12.0 pyarrow pandas polars pyspark==4.0.5
	touch "$dir/venv/complete"
fi
jar() { # COORDINATES NAME
	[ -e "$dir/$2" ] && return
	mvn -q -B dependency:get -Dtransitive=false -Dartifact="$1"
	mvn -q -B dependency:copy -Dartifact="$1" -DoutputDirectory="$dir/new" -Dmdep.stripVersion=false
	mv "$dir"/new/* "$dir/$2"
}
for version in 1.11.0 1.10.1; do
	jar org.apache.iceberg:iceberg-spark-runtime-4.0_2.13:$version iceberg-spark-$version.jar
	jar org.apache.iceberg:iceberg-aws-bundle:$version iceberg-aws-$version.jar
done
if [ ! -e "$dir/trino/complete" ]; then
	jar io.trino:trino-server:476:tar.gz trino-server.tar.gz
	mkdir -p "$dir/trino"
	tar -xzf "$dir/trino-server.tar.gz" -C "$dir/trino" --strip-components=1
	find "$dir/trino/plugin" -mindepth 1 -maxdepth 1 ! -name iceberg -exec rm -r {} + # each plugin takes seconds at every start
	rm "$dir/trino-server.tar.gz"
	touch "$dir/trino/complete"
fi
