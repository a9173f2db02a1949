// Runs Kafka's command-line tools one after the other in one JVM, since a JVM for each would take most of the time.
//
//   java -cp '.peers/tools/*' Tools.java
//
// Reads a line of JSON from stdin for each run: {"class": ..., "args": [...], "input": text}; answers with a line of
// JSON: {"exit": code, "out": text, "err": text}. A tool that would end the process ends its run instead.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.*;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.*;
import org.apache.kafka.common.utils.Exit;

public class Tools {
    static class Ended extends RuntimeException {
        final int code;
        Ended(int code) { super("exit " + code, null, false, false); this.code = code; }
    }

    static int ended;

    public static void main(String[] given) throws Exception {
        ObjectMapper mapper = new ObjectMapper();
        PrintStream answers = System.out;
        BufferedReader asked = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        // A tool may catch what is thrown to end it, and end again: the first code counts.
        Exit.Procedure end = (code, message) -> {
            if (ended < 0) ended = code;
            throw new Ended(code);
        };
        Exit.setExitProcedure(end);
        Exit.setHaltProcedure(end);
        // Some tools finish only as the process ends.
        List<Runnable> hooks = new ArrayList<>();
        Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
        for (String line = asked.readLine(); line != null; line = asked.readLine()) {
            JsonNode run = mapper.readTree(line);
            List<String> args = new ArrayList<>();
            run.get("args").forEach(one -> args.add(one.asText()));
            ByteArrayOutputStream out = new ByteArrayOutputStream(), err = new ByteArrayOutputStream();
            System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
            System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
            System.setIn(new ByteArrayInputStream(run.get("input").asText().getBytes(StandardCharsets.UTF_8)));
            ended = -1;
            int code = run(run.get("class").asText(), args.toArray(new String[0]));
            for (Runnable hook : hooks) {
                Thread thread = new Thread(hook);
                thread.setDaemon(true);
                thread.start();
                thread.join(5000);
            }
            // What other threads of the tool still have to say.
            if (!hooks.isEmpty()) Thread.sleep(100);
            hooks.clear();
            System.out.flush();
            System.err.flush();
            answers.println(mapper.writeValueAsString(Map.of("exit", code,
                "out", out.toString(StandardCharsets.UTF_8), "err", err.toString(StandardCharsets.UTF_8))));
            answers.flush();
        }
        // Threads that a tool has left behind do not keep the process.
        Runtime.getRuntime().halt(0);
    }

    static int run(String name, String[] args) {
        try {
            Class.forName(name).getMethod("main", String[].class).invoke(null, (Object) args);
            return Math.max(ended, 0);
        } catch (InvocationTargetException thrown) {
            Throwable cause = thrown.getCause();
            if (ended >= 0) return ended;
            System.err.println("Exception in thread \"main\" " + cause);
            return 1;
        } catch (ReflectiveOperationException wrong) {
            System.err.println("no such tool: " + wrong);
            return 99;
        }
    }
}
