// Writes the golden bytes of this folder with Apache Kafka's own Java classes: every version of every message, and
// record batches in every compression. To run it again (any JDK from 17 on):
//
//   mvn dependency:copy-dependencies -DoutputDirectory=lib    # with a pom.xml that depends on
//       org.apache.kafka:kafka-clients:4.4.0 and com.fasterxml.jackson.core:jackson-databind:2.19.0
//   java -cp 'lib/*' Golden.java messages > messages.txt
//   java -cp 'lib/*' Golden.java batches > batches.txt
//
// messages.txt: kind (full: every field set; null: everything that may be null is, arrays empty), name, version, the
// bytes in hex, then for "full" what was set (field=value). batches.txt: compression, the batch in hex.

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.*;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.util.*;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.record.*;
import org.apache.kafka.common.record.internal.*;

public class Golden {
    static final String[] APIS = {"Produce", "Fetch", "ListOffsets", "Metadata", "ApiVersions", "CreateTopics",
        "DeleteTopics", "InitProducerId", "OffsetForLeaderEpoch", "DescribeConfigs", "DescribeCluster",
        "DescribeTopicPartitions", "FindCoordinator", "JoinGroup", "SyncGroup", "Heartbeat", "LeaveGroup",
        "OffsetCommit", "OffsetFetch", "OffsetDelete", "DeleteGroups", "DescribeGroups", "ListGroups",
        "AlterConfigs", "IncrementalAlterConfigs", "CreatePartitions", "DescribeLogDirs", "DescribeProducers",
        "ListPartitionReassignments", "ElectLeaders", "DescribeQuorum", "ListConfigResources", "DeleteRecords",
        "DescribeClientQuotas", "AlterClientQuotas", "DescribeUserScramCredentials"};
    static final ObjectMapper MAPPER = new ObjectMapper().configure(JsonParser.Feature.ALLOW_COMMENTS, true);
    static final JsonNodeFactory F = JsonNodeFactory.instance;

    public static void main(String[] args) throws Exception {
        if (args[0].equals("batches")) batches(); else messages();
    }

    static boolean in(String range, int version) {
        if (range == null || range.equals("none")) return false;
        if (range.endsWith("+")) return version >= Integer.parseInt(range.substring(0, range.length() - 1));
        String[] ends = range.split("-");
        return version >= Integer.parseInt(ends[0]) && version <= Integer.parseInt(ends[ends.length - 1]);
    }

    static void messages() throws Exception {
        for (String api : APIS) for (String kind : new String[] {"Request", "Response"}) {
            JsonNode schema;
            try (InputStream in = Golden.class.getResourceAsStream("/common/message/" + api + kind + ".json")) {
                schema = MAPPER.readTree(in);
            }
            Map<String, JsonNode> structs = new HashMap<>();
            if (schema.has("commonStructs"))
                for (JsonNode s : schema.get("commonStructs")) structs.put(s.get("name").asText(), s.get("fields"));
            collect(schema.get("fields"), structs);
            String[] ends = schema.get("validVersions").asText().split("-");
            for (int v = Integer.parseInt(ends[0]); v <= Integer.parseInt(ends[ends.length - 1]); v++) {
                for (boolean full : new boolean[] {true, false}) {
                    Set<String> facts = new TreeSet<>();
                    JsonNode json = struct(schema.get("fields"), structs, v, full, facts, 1);
                    Class<?> converter = Class.forName("org.apache.kafka.common.message." + api + kind + "DataJsonConverter");
                    Message message = (Message) converter.getMethod("read", JsonNode.class, short.class).invoke(null, json, (short) v);
                    ByteBuffer buffer = MessageUtil.toByteBufferAccessor(message, (short) v).buffer();
                    byte[] bytes = new byte[buffer.remaining()];
                    buffer.get(bytes);
                    System.out.println((full ? "full " : "null ") + api + kind + " " + v + " " + HexFormat.of().formatHex(bytes)
                        + " " + (full ? String.join(",", facts) : ""));
                }
            }
        }
    }

    static void collect(JsonNode fields, Map<String, JsonNode> structs) {
        for (JsonNode field : fields) if (field.has("fields")) {
            structs.put(field.get("type").asText().replace("[]", ""), field.get("fields"));
            collect(field.get("fields"), structs);
        }
    }

    static ObjectNode struct(JsonNode fields, Map<String, JsonNode> structs, int v, boolean full, Set<String> facts, int nth) {
        ObjectNode node = F.objectNode();
        for (JsonNode field : fields) {
            if (!in(field.get("versions").asText(), v)) continue;
            boolean tagged = field.has("tag") && in(field.get("taggedVersions").asText(), v);
            if (tagged && !full) continue;
            String name = field.get("name").asText();
            String type = field.get("type").asText();
            boolean nullable = field.has("nullableVersions") && in(field.get("nullableVersions").asText(), v);
            JsonNode value;
            if (!full && nullable) value = F.nullNode();
            else if (type.startsWith("[]")) {
                ArrayNode array = F.arrayNode();
                for (int i = 1; full && i <= 2; i++) array.add(value(name, type.substring(2), structs, v, full, facts, nth * 2 + i));
                value = array;
            } else value = value(name, type, structs, v, full, facts, nth);
            node.set(name.substring(0, 1).toLowerCase() + name.substring(1), value);
        }
        return node;
    }

    static JsonNode value(String name, String type, Map<String, JsonNode> structs, int v, boolean full, Set<String> facts, int nth) {
        String snake = name.replaceAll("(?<!^)([A-Z])", "_$1").toLowerCase();
        long seed = full ? Math.floorMod(name.hashCode() * 31L + nth * 7919L, 1_000_000_007L) + 1 : 0;
        boolean plain = full && !name.endsWith("ErrorCode") && !name.equals("ApiKey");
        switch (type) {
            case "bool": return F.booleanNode(full);
            case "int8": { long x = seed % 100 + (full ? 1 : 0); if (plain) facts.add(snake + "=" + x); return F.numberNode((short) x); }
            case "int16": { long x = full ? 10_000 + seed % 20_000 : 0; if (plain) facts.add(snake + "=" + x); return F.numberNode((short) x); }
            case "uint16": { long x = full ? 10_000 + seed % 20_000 : 0; if (plain) facts.add(snake + "=" + x); return F.numberNode((int) x); }
            case "int32": { if (plain) facts.add(snake + "=" + seed); return F.numberNode((int) seed); }
            case "int64": { long x = seed * 1_000_003; if (plain) facts.add(snake + "=" + x); return F.numberNode(x); }
            case "float64": { double x = seed + 0.5; if (plain) facts.add(snake + "=" + new java.math.BigDecimal(x).toPlainString()); return F.numberNode(x); }
            case "string": { if (full) facts.add(snake + "=\"" + snake + nth + "\""); return F.textNode(full ? snake + nth : ""); }
            case "uuid": return F.textNode(new Uuid(seed * 3, seed * 5).toString());
            case "records": case "bytes": return F.binaryNode(full ? ("records" + nth).getBytes() : new byte[0]);
            default: return struct(structs.get(type), structs, v, full, facts, nth);
        }
    }

    static void batches() throws Exception {
        for (CompressionType type : CompressionType.values()) {
            MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(1 << 16), RecordBatch.MAGIC_VALUE_V2,
                Compression.of(type).build(), TimestampType.CREATE_TIME, 0L, -1L, 77L, (short) 3, 42, false, -1);
            for (int i = 0; i < 500; i++) {
                builder.append(1_700_000_000_000L + i * 10L, i % 3 == 0 ? null : ("key" + i).getBytes(),
                    i % 7 == 0 ? null : ("value " + i + " of some length").getBytes(),
                    i % 2 == 0 ? new RecordHeader[0] : new RecordHeader[] {new RecordHeader("h", ("" + i).getBytes())});
            }
            ByteBuffer buffer = builder.build().buffer();
            byte[] bytes = new byte[buffer.remaining()];
            buffer.get(bytes);
            System.out.println(type.name + " " + HexFormat.of().formatHex(bytes));
        }
    }
}
