# engine.py ENGINE CONFIG asks an engine: a request on each line of the standard input, an answer on each line of the output.
# TestEngines starts it. A request of PyIceberg is what its scan takes; one of the others is {"sql": …}.
import json
import os
import sys

engine, config = sys.argv[1], json.loads(sys.argv[2])
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what engines print themselves is no answer


def duckdb():
    import duckdb
    from importlib.resources import files

    d = duckdb.connect(config={"allow_unsigned_extensions": True})
    for e in ("httpfs", "avro", "iceberg"):
        d.load_extension(str(next(files("duckdb_extension_" + e).rglob("*.duckdb_extension"))))
    d.sql("SET threads TO 1")
    for sql in config["setup"]:
        d.sql(sql)
    return lambda request: d.sql(request["sql"]).fetchall()


def pyiceberg():
    from pyiceberg.catalog.rest import RestCatalog
    from pyiceberg.table import StaticTable

    catalog = RestCatalog("fustor", **config["properties"])

    def ask(request):
        if request.get("do") == "names":
            return [[[list(n) for n in catalog.list_namespaces()], [list(t) for t in catalog.list_tables("fustor")],
                     catalog.table_exists("fustor.none"), catalog.namespace_exists("fustor"), catalog.namespace_exists("none")]]
        if request.get("do") == "run":  # a block of the documentation, and what becomes of its last name
            names = {}
            exec(request["code"], names)
            return [[len(names["files"])]]
        if request.get("do") == "drop":
            return catalog.drop_table(request["table"])
        if "metadata" in request:
            table = StaticTable.from_metadata(request["metadata"], properties=config["properties"])
        else:
            table = catalog.load_table(request["table"])
        snapshot = request.get("snapshot")
        if "tag" in request:
            snapshot = table.snapshot_by_name(request["tag"]).snapshot_id
        columns = request["columns"]
        scan = table.scan(row_filter=request.get("filter", "true"), selected_fields=tuple(columns), snapshot_id=snapshot)
        if request.get("count"):
            return [[scan.to_arrow().num_rows]]
        rows = scan.to_arrow().select(columns).to_pylist()
        return [[v.hex() if isinstance(v, bytes) else v for v in r.values()] for r in rows]

    return ask


def spark():
    from pyspark.sql import SparkSession

    b = SparkSession.builder.master("local[1]")
    for name, value in config["spark"].items():
        b = b.config(name, value)
    session = b.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return lambda request: [list(r) for r in session.sql(request["sql"]).collect()]


ask = {"duckdb": duckdb, "pyiceberg": pyiceberg, "spark": spark}[engine]()
for line in sys.stdin:
    try:
        answer = {"rows": ask(json.loads(line))}
    except Exception as e:
        answer = {"error": f"{type(e).__name__}: {e}"}
    print(json.dumps(answer, default=str), file=answers, flush=True)
