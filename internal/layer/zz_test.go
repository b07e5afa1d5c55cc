package layer
import ("testing";"fmt";"time";"encoding/binary";"github.com/fustor/fustor/internal/gentree";"github.com/klauspost/compress/zstd";"github.com/parquet-go/parquet-go/encoding/delta")
func TestZZ(t *testing.T){
	var bl builder; bl.reset()
	zs := map[string]*zstd.Encoder{}
	for n,l := range map[string]zstd.EncoderLevel{"1":zstd.SpeedFastest,"2":zstd.SpeedDefault,"3":zstd.SpeedBetterCompression,"4":zstd.SpeedBestCompression} { z,_ := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithEncoderLevel(l)); zs[n]=z }
	sum := map[string]int{}; took := map[string]time.Duration{}
	try := func(what string, b []byte) { for n,z := range zs { s:=time.Now(); sum[what+"-"+n]+=len(z.EncodeAll(b,nil)); took[what+"-"+n]+=time.Since(s) } }
	rows:=0
	for r := range gentree.New(gentree.Options{Seed: 1, Rows: 1000000}).Rows() { bl.add(r); rows++
	 if bl.rows==8192 {
		b,_ := (&delta.LengthByteArrayEncoding{}).EncodeByteArray(nil, bl.names, bl.offsets); try("name-len", b)
		b,_ = (&delta.ByteArrayEncoding{}).EncodeByteArray(nil, bl.names, bl.offsets); try("name-delta", b)
		b=nil; for i:=range bl.rows { b=appendText(b,bl.name(i)) }; try("name-plain", b)
		for _,c := range []Column{ColumnMtimeNs,ColumnSize,ColumnAtimeDay,ColumnObservedAtNs} {
		 b,_ = (&delta.BinaryPackedEncoding{}).EncodeInt64(nil, bl.numbers[c]); try(specs[c].name+"-delta", b)
		 b=nil; for _,v := range bl.numbers[c] { if c==ColumnAtimeDay { b=binary.LittleEndian.AppendUint32(b,uint32(v)) } else {b=binary.LittleEndian.AppendUint64(b,uint64(v))} }; try(specs[c].name+"-plain", b)
		}
		bl.reset()
	 }
	}
	for _,w := range []string{"name-len","name-delta","name-plain","mtime_ns-delta","mtime_ns-plain","size-delta","size-plain","atime_day-delta","atime_day-plain","observed_at_ns-delta","observed_at_ns-plain"} {
	 for _,l := range []string{"1","2","3","4"} { fmt.Printf("%s-%s %.3f (%d ms)  ", w,l, float64(sum[w+"-"+l])/1e6, took[w+"-"+l].Milliseconds()) }; fmt.Println() }
}
