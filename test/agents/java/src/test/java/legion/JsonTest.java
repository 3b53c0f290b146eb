package legion;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.gson.JsonParseException;
import com.google.gson.JsonPrimitive;
import com.google.protobuf.ByteString;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class JsonTest {
    @ParameterizedTest
    @ValueSource(
            strings = {
                "{}",
                "{\"none\":null,\"list\":[],\"object\":{},\"yes\":true}",
                "{\"numbers\":[9007199254740993,12345678901234567890,0.1,-0.0,1.0,5e-324,1E400]}",
                "{\"text\":\"straße 漢字 🦉 \\u0000 <&>\\u2028\"}",
            })
    void comesOutAsItWentIn(String text) {
        assertEquals(text, Json.write(Json.parse(ByteString.copyFromUtf8(text))).toStringUtf8());
    }

    @Test
    void deepOnesToo() {
        String text = "{\"a\":".repeat(900) + "1" + "}".repeat(900);
        assertEquals(text, Json.write(Json.parse(ByteString.copyFromUtf8(text))).toStringUtf8());
    }

    @ParameterizedTest
    @ValueSource(strings = {"[]", "1", "{'a':1}", "{\"a\":NaN}", "{\"a\":1"})
    void whatIsNoObjectIsRefused(String text) {
        assertThrows(JsonParseException.class, () -> Json.parse(ByteString.copyFromUtf8(text)));
    }

    @Test
    void whatJsonCannotSayIsNotSaid() {
        assertThrows(IllegalArgumentException.class, () -> Json.write(new JsonPrimitive(Double.NaN)));
    }
}
